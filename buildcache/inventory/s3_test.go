package inventory_test

import (
	"context"
	"iter"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/inventory"
	"github.com/openbraininstitute/spacktainers/buildcache/s3"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
)

func bucket(t *testing.T, server *s3test.Server, url string) *s3.Store {
	t.Helper()
	store, err := s3.Open(t.Context(), url, s3.Options{Endpoint: server.Endpoint, PathStyle: true, Credentials: s3.Keys(server.AccessKey, server.SecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// An inventory and a listing of the same bucket say the same.
func TestAnInventoryIsAListing(t *testing.T) {
	for _, server := range s3test.All(t) {
		t.Run(server.Name, func(t *testing.T) {
			name, lists := server.NewBucket(t), server.NewBucket(t)
			server.EnableVersioning(t, name)
			whole, cache := bucket(t, server, "s3://"+name), bucket(t, server, "s3://"+name+"/develop")
			for _, key := range []string{"develop/v3/layout.json", "develop/v3/a b+c%d é=1", "develop/v3/gone", "develop/v3/twice", "develop/v3/twice", "elsewhere/x"} {
				if _, err := whole.Put(t.Context(), key, strings.NewReader(key), int64(len(key)), buildcache.PutOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if err := cache.Delete(t.Context(), []string{"v3/gone"}); err != nil {
				t.Fatal(err)
			}
			want := collect(t, cache)
			if len(want) != 3 {
				t.Fatalf("the listing has %v", want)
			}
			for _, versions := range []bool{false, true} {
				manifest := server.Inventory(t, name, lists, versions, time.Now())
				i, err := inventory.Open(t.Context(), bucket(t, server, "s3://"+lists), manifest, inventory.Mirror{Bucket: name, Prefix: "develop"})
				if err != nil {
					t.Fatal(err)
				}
				if got := collect(t, i); !maps.Equal(got, want) {
					t.Errorf("versions %v: got %v, want %v", versions, got, want)
				}
				if age := time.Since(i.At()); age < 0 || age > time.Minute {
					t.Errorf("it is %v old", age)
				}
			}
		})
	}
}

type lister interface {
	List(ctx context.Context, prefix string) iter.Seq2[buildcache.Object, error]
}

// collect returns what is listed by key; an inventory has milliseconds.
func collect(t *testing.T, from lister) map[string]buildcache.Object {
	t.Helper()
	found := map[string]buildcache.Object{}
	for o, err := range from.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		o.ModTime = o.ModTime.UTC().Truncate(time.Second)
		found[o.Key] = o
	}
	return found
}
