package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// An ecrAccount is one registry of Amazon's: an account in a region.
type ecrAccount struct{ id, region string }

var ecrHost = regexp.MustCompile(`^(\d{12})\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)$`)

// parseECR reads the account and the region from a registry's host.
func parseECR(host string) (ecrAccount, bool) {
	m := ecrHost.FindStringSubmatch(host)
	if m == nil {
		return ecrAccount{}, false
	}
	return ecrAccount{m[1], m[2]}, true
}

// ecrAccounts speaks with Amazon's API beside the registry's own: it makes
// passwords from AWS credentials, and repositories, which no push makes there.
type ecrAccounts struct {
	mu     sync.Mutex
	logins map[ecrUser]ecrLogin
}

// An ecrUser is who asks an account for a password.
type ecrUser struct {
	ecrAccount
	keys AWSKeys
}

type ecrLogin struct {
	Login
	until time.Time
}

// client speaks for the credentials of a repository: its own, or those of
// AWS's chain.
func (a *ecrAccounts) client(ctx context.Context, from Credentials, target authn.Resource) (*ecr.Client, ecrUser, error) {
	var user ecrUser
	user.ecrAccount, _ = parseECR(target.RegistryStr())
	options := []func(*awsconfig.LoadOptions) error{awsconfig.WithRegion(user.region)}
	if named := from.named(target); named != nil {
		keys, err := named.keys(target)
		if err != nil {
			return nil, user, err
		}
		user.keys = keys
		options = append(options, awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(keys.ID, keys.Secret, keys.Token)))
	}
	config, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, user, fmt.Errorf("AWS configuration: %w", err)
	}
	return ecr.NewFromConfig(config), user, nil
}

// login exchanges AWS credentials for a password that holds twelve hours.
func (a *ecrAccounts) login(ctx context.Context, from Credentials, target authn.Resource) (Login, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	client, user, err := a.client(ctx, from, target)
	if err != nil {
		return Login{}, err
	}
	if known, ok := a.logins[user]; ok && time.Now().Before(known.until) {
		return known.Login, nil
	}
	reply, err := client.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return Login{}, fmt.Errorf("ask AWS for a registry password: %w", err)
	}
	if len(reply.AuthorizationData) == 0 || reply.AuthorizationData[0].AuthorizationToken == nil {
		return Login{}, errors.New("ask AWS for a registry password: the reply holds none")
	}
	data := reply.AuthorizationData[0]
	token, err := base64.StdEncoding.DecodeString(*data.AuthorizationToken)
	if err != nil {
		return Login{}, errors.New("ask AWS for a registry password: the reply is no base64")
	}
	name, password, _ := strings.Cut(string(token), ":")
	login := ecrLogin{Login{name, password}, time.Now().Add(time.Hour)}
	if data.ExpiresAt != nil {
		login.until = data.ExpiresAt.Add(-10 * time.Minute)
	}
	if a.logins == nil {
		a.logins = map[ecrUser]ecrLogin{}
	}
	a.logins[user] = login
	return login.Login, nil
}

// ensure creates a repository if it is missing. Who may not look is not
// stopped here: the push will tell whether it is there.
func (a *ecrAccounts) ensure(ctx context.Context, from Credentials, repository name.Repository) error {
	client, account, err := a.client(ctx, from, repository)
	if err != nil {
		return err
	}
	_, err = client.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{
		RegistryId: aws.String(account.id), RepositoryNames: []string{repository.RepositoryStr()},
	})
	var missing *types.RepositoryNotFoundException
	if !errors.As(err, &missing) {
		return nil
	}
	_, err = client.CreateRepository(ctx, &ecr.CreateRepositoryInput{
		RegistryId: aws.String(account.id), RepositoryName: aws.String(repository.RepositoryStr()),
	})
	var exists *types.RepositoryAlreadyExistsException
	if err != nil && !errors.As(err, &exists) {
		return fmt.Errorf("create repository %s: %w: the role needs ecr:CreateRepository, or create it first", repository, err)
	}
	return nil
}
