package attest_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	provenance "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

var madeFrom = []image.Input{
	{Kind: "platform", Digest: "linux/amd64"},
	{Kind: "base", Digest: "docker.io/library/debian@sha256:" + strings.Repeat("ab", 32)},
	{Kind: "file", Name: "spack.yaml", Digest: "-rw-r--r-- " + strings.Repeat("cd", 32)},
	{Kind: "repository", Name: "000", Digest: strings.Repeat("ef", 20) + " a b"},
	{Kind: "mirror", Name: "/home/jane/cache", Digest: "file:///home/jane/cache"},
}

func record() image.Record {
	return image.Record{Name: "tool", Version: "1.0", Platform: "linux/amd64", Engine: "assemble", BuildKey: "k",
		Digest: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("12", 32)}, Inputs: madeFrom}
}

// in-toto's own library reads what we write, and finds it valid.
func TestProvenanceIsValid(t *testing.T) {
	for name, origin := range map[string]attest.Origin{
		"of a CI job": {Source: "https://git.example/org/x", Commit: strings.Repeat("a1", 20), Branch: "main", Builder: "https://ci.example/jobs/7", Time: time.Now()},
		"at a shell":  {Source: "https://git.example/org/x", Commit: strings.Repeat("a1", 20) + "-dirty", Builder: "jane@workstation", Time: time.Now()},
		"of nowhere":  {Time: time.Now()},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := attest.NewProvenance(record(), origin)
			if err != nil {
				t.Fatal(err)
			}
			var statement intoto.Statement
			if err := protojson.Unmarshal(text, &statement); err != nil {
				t.Fatal(err)
			}
			if err := statement.Validate(); err != nil {
				t.Error(err)
			}
			var predicate provenance.Provenance
			inner, err := protojson.Marshal(statement.Predicate)
			if err == nil {
				err = protojson.Unmarshal(inner, &predicate)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := predicate.Validate(); err != nil {
				t.Error(err)
			}
			for _, material := range predicate.BuildDefinition.ResolvedDependencies {
				if err := material.Validate(); err != nil || material.GetName() == "input" && (material.Uri == "" || len(material.Digest) == 0) {
					t.Errorf("material %v: %v", material, err)
				}
			}
			if id := predicate.RunDetails.Builder.Id; !strings.HasPrefix(id, "https://") {
				t.Errorf("builder %q", id)
			}
			for _, secret := range []string{"jane", "workstation", "/home"} {
				if strings.Contains(string(text), secret) {
					t.Errorf("it tells %q: %s", secret, text)
				}
			}
			parsed, err := attest.ParseProvenance(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, in := range madeFrom[:4] {
				if !slices.Contains(parsed.Inputs(), in) {
					t.Errorf("%v is lost", in)
				}
			}
			if got := parsed.Origin(); got.Commit != origin.Commit || got.Source != origin.Source || got.Branch != origin.Branch {
				t.Errorf("got %+v, want %+v", got, origin)
			}
		})
	}
}
