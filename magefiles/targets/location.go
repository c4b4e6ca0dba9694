package targets

import (
	"cmp"
	"maps"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/s3"
)

// defaultCredentials is the name of the variables with the credentials of mirrors that name none.
const defaultCredentials = "AWS_CACHE"

// location is the mirror that an address names, with the endpoint and credentials that the
// configuration has for it, however the address is spelt in the two places.
func (a *app) location(address string) (buildcache.Location, error) {
	at, err := buildcache.ParseLocation(address, "")
	if err != nil {
		return at, err
	}
	configured := a.config.locations()
	for _, c := range configured {
		if at.Same(c) {
			return c, nil
		}
	}
	for _, c := range configured { // another part of the same bucket, such as where inventories lie
		if at.IsBucket() && at.Bucket == c.Bucket {
			at.Endpoint, at.Credentials, at.Anonymous = c.Endpoint, c.Credentials, c.Anonymous
			break
		}
	}
	at.Credentials = cmp.Or(at.Credentials, defaultCredentials)
	return at, nil
}

// locations are the mirrors of the configuration. What cannot be one is left out: check tells of
// it.
func (c Config) locations() []buildcache.Location {
	var all []buildcache.Location
	add := func(address, endpoint, credentials string, anonymous bool) {
		if at, err := buildcache.ParseLocation(address, ""); err == nil {
			at.Endpoint, at.Credentials, at.Anonymous = endpoint, cmp.Or(credentials, defaultCredentials), anonymous
			all = append(all, at)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Platforms)) {
		p := c.Platforms[name]
		add(p.Mirror, p.Endpoint, p.Credentials, p.Anonymous)
	}
	add(c.Branches.Mirror, c.Branches.Endpoint, c.Branches.Credentials, false)
	return all
}

// bucketOptions say how to reach a mirror that is a bucket.
func (a *app) bucketOptions(at buildcache.Location) s3.Options {
	opts := s3.Options{
		Endpoint:  at.Endpoint,
		PathStyle: a.env.S3PathStyle || at.Endpoint != "",
		Anonymous: at.Anonymous,
		KeysFrom:  at.Credentials + "_ACCESS_KEY_ID",
	}
	if id, secret, token := a.env.keys(at.Credentials); id != "" {
		opts.Credentials = s3.Keys(id, secret, token)
	}
	return opts
}
