package gitlabapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Client speaks with the API of one GitLab server.
type Client struct {
	API      string // such as https://gitlab.example.org/api/v4
	JobToken string // of the CI job: is tried first
	Token    string // with the scope read_api: where the job's is not enough
	HTTP     *http.Client
	Sleep    func(context.Context, time.Duration) error // between tries; nil: by the clock
	Notice   func(text string)                          // is told what is tried again; may be nil

	first int // which token listing began to work with
}

// The bounds of one answer.
const (
	perPage  = 100
	maxPage  = 32 << 20
	maxTries = 6
	maxWait  = time.Minute
)

type job struct {
	ID        int64  `json:"id"`
	Name      string `json:"name"`
	Status    string `json:"status"`
	Artifacts []struct {
		Type string `json:"file_type"`
	} `json:"artifacts"`
	File *struct {
		Name string `json:"filename"`
	} `json:"artifacts_file"`
}

// hasArchive reports whether there is more than the log.
func (j job) hasArchive() bool {
	for _, a := range j.Artifacts {
		if a.Type == "archive" {
			return true
		}
	}
	return j.File != nil
}

type bridge struct {
	Downstream *struct {
		ID      int64 `json:"id"`
		Project int64 `json:"project_id"`
	} `json:"downstream_pipeline"`
}

func escape(project string) string { return url.PathEscape(project) }

// pages reads all pages of a list, of which no more items than most are taken.
func (c *Client) pages(ctx context.Context, path string, into any, most int) error {
	var all []json.RawMessage
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	for page := 1; ; page++ {
		var items []json.RawMessage
		next := ""
		err := c.get(ctx, fmt.Sprintf("%s%sper_page=%d&page=%d", path, separator, perPage, page), func(r *http.Response) error {
			var text bytes.Buffer
			if _, err := limited(&text, r.Body, maxPage); err != nil {
				return err
			}
			next = r.Header.Get("X-Next-Page")
			if _, told := r.Header[http.CanonicalHeaderKey("X-Next-Page")]; !told {
				next = "?" // then a full page may have another one behind it
			}
			items = nil
			if err := json.Unmarshal(text.Bytes(), &items); err != nil {
				return &badAnswer{fmt.Errorf("the answer is no list: %w", err)}
			}
			return nil
		})
		if err != nil {
			return err
		}
		all = append(all, items...)
		if len(all) > most {
			return fmt.Errorf("%w: a list of %d", errTooMuch, len(all))
		}
		if next == "" || len(items) == 0 || next == "?" && len(items) < perPage {
			break
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return nil
	}
	return json.Unmarshal(text, into)
}

// fetch downloads the artifacts of a job to a temporary file.
func (c *Client) fetch(ctx context.Context, j Job, most int64, do func(*os.File) error) error {
	file, err := os.CreateTemp("", "artifacts-*.zip")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	err = c.get(ctx, fmt.Sprintf("projects/%s/jobs/%d/artifacts", escape(j.project), j.ID), func(r *http.Response) error {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if err := file.Truncate(0); err != nil {
			return err
		}
		_, err := limited(file, r.Body, most)
		return err
	})
	if err != nil {
		return err
	}
	return do(file)
}

// A statusError is an answer that is no success.
type statusError struct {
	code  int
	text  string
	after time.Duration // that the server asks to wait
}

func (e *statusError) Error() string {
	s := fmt.Sprintf("the server answers %d %s", e.code, http.StatusText(e.code))
	if e.text != "" {
		s += ": " + e.text
	}
	return s
}

// A badAnswer is not asked for again.
type badAnswer struct{ error }

// get asks with each token that there is, the one that worked last first, and again where the server
// is busy or the connection breaks.
func (c *Client) get(ctx context.Context, path string, read func(*http.Response) error) error {
	type token struct{ header, value string }
	var tokens []token
	if c.JobToken != "" {
		tokens = append(tokens, token{"JOB-TOKEN", c.JobToken})
	}
	if c.Token != "" {
		tokens = append(tokens, token{"PRIVATE-TOKEN", c.Token})
	}
	if len(tokens) == 0 {
		tokens = append(tokens, token{})
	}
	var err error
	for i := range tokens {
		n := (c.first + i) % len(tokens)
		if err = c.try(ctx, path, tokens[n].header, tokens[n].value, read); err == nil {
			c.first = n
			return nil
		}
		if !isRefused(err) {
			return err
		}
	}
	c.first = 0
	if isRefused(err) && c.Token == "" {
		return fmt.Errorf("%w: a job's own token is not enough for that: set GITLAB_API_TOKEN, with the scope read_api", err)
	}
	return err
}

// isRefused is true of answers that another token may change: GitLab says 404 of what may not be
// seen.
func isRefused(err error) bool {
	var status *statusError
	return errors.As(err, &status) && (status.code == 401 || status.code == 403 || status.code == 404)
}

func (c *Client) try(ctx context.Context, path, header, value string, read func(*http.Response) error) error {
	return c.again(ctx, func() error { return c.once(ctx, http.MethodGet, path, header, value, nil, read) })
}

// again calls do until it succeeds, for as long as another try may help.
func (c *Client) again(ctx context.Context, do func() error) error {
	for n := 1; ; n++ {
		err := do()
		if err == nil || ctx.Err() != nil {
			return err
		}
		wait, again := retry(err, n)
		if !again || n == maxTries {
			return err
		}
		if c.Notice != nil {
			c.Notice(fmt.Sprintf("%v: again in %v", err, wait))
		}
		if err := c.sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// retry says how long to wait before the next try, if one may help.
func retry(err error, n int) (wait time.Duration, again bool) {
	wait = min(maxWait, time.Second<<(n-1))
	var status *statusError
	var bad *badAnswer
	switch {
	case errors.As(err, &status):
		if status.after > 0 {
			wait = min(maxWait, status.after)
		}
		return wait, status.code == 429 || status.code >= 500
	case errors.As(err, &bad), errors.Is(err, errTooMuch), errors.Is(err, os.ErrPermission):
		return 0, false
	}
	return wait, true // the connection
}

func (c *Client) sleep(ctx context.Context, d time.Duration) error {
	if c.Sleep != nil {
		return c.Sleep(ctx, d)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// once sends one request, with a body in JSON where there is one.
func (c *Client) once(ctx context.Context, method, path, header, value string, body []byte, read func(*http.Response) error) error {
	request, err := http.NewRequestWithContext(ctx, method, c.API+"/"+path, bytes.NewReader(body))
	if err != nil {
		return &badAnswer{err}
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if header != "" {
		request.Header.Set(header, value)
	}
	client := http.Client{CheckRedirect: guardRedirect}
	if c.HTTP != nil {
		client.Transport, client.Timeout = c.HTTP.Transport, c.HTTP.Timeout
	}
	response, err := client.Do(request)
	if err != nil {
		var address *url.Error
		if errors.As(err, &address) { // the address may be a signed one
			err = address.Err
		}
		return err
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		after, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		return &statusError{response.StatusCode, message(response.Body), time.Duration(after) * time.Second}
	}
	return read(response)
}

// message is what an answer says of itself, in one short line.
func message(body io.Reader) string {
	text, _ := io.ReadAll(io.LimitReader(body, 4096))
	var m struct {
		Message any `json:"message"`
		Error   any `json:"error"`
	}
	if json.Unmarshal(text, &m) != nil {
		return ""
	}
	for _, v := range []any{m.Message, m.Error} {
		if v != nil {
			return fmt.Sprintf("%.200q", fmt.Sprint(v))
		}
	}
	return ""
}

// guardRedirect follows to where artifacts are stored, without the token: Go would take it along to
// any server.
func guardRedirect(to *http.Request, via []*http.Request) error {
	if via[0].Method != http.MethodGet {
		return &badAnswer{fmt.Errorf("a redirect to %s: nothing is written elsewhere", to.URL.Host)}
	}
	if len(via) > 5 {
		return &badAnswer{errors.New("more than five redirects")}
	}
	from := via[0].URL
	if from.Scheme == "https" && to.URL.Scheme != "https" {
		return &badAnswer{fmt.Errorf("a redirect from https to %s", to.URL.Scheme)}
	}
	if to.URL.Scheme != from.Scheme || to.URL.Host != from.Host {
		to.Header.Del("JOB-TOKEN")
		to.Header.Del("PRIVATE-TOKEN")
	}
	return nil
}
