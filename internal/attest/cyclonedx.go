package attest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

func (b bill) cyclonedx() ([]byte, error) {
	_, digest, _ := strings.Cut(b.Digest, ":")
	bom := cyclonedx.NewBOM()
	bom.SerialNumber = serial(b.Digest)
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: b.Created.UTC().Format(time.RFC3339),
		Tools:     &cyclonedx.ToolsChoice{Components: &[]cyclonedx.Component{{Type: cyclonedx.ComponentTypeApplication, Name: tool}}},
		Component: &cyclonedx.Component{
			BOMRef: b.Digest, Type: cyclonedx.ComponentTypeContainer, Name: b.Name, Version: b.Version,
			Hashes: &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: digest}},
		},
	}
	var components []cyclonedx.Component
	var roots []string
	for _, hash := range b.roots {
		roots = append(roots, string(hash))
	}
	graph := []cyclonedx.Dependency{{Ref: b.Digest, Dependencies: &roots}}
	for _, spec := range b.specs {
		components = append(components, b.component(spec))
		kinds := buildcache.Runtime
		if !b.inside[spec.Hash] {
			kinds |= buildcache.Build
		}
		needed := []string{}
		for _, hash := range needs(spec, kinds) {
			needed = append(needed, string(hash))
		}
		graph = append(graph, cyclonedx.Dependency{Ref: string(spec.Hash), Dependencies: &needed})
	}
	bom.Components, bom.Dependencies = &components, &graph
	var text bytes.Buffer
	err := cyclonedx.NewBOMEncoder(&text, cyclonedx.BOMFileFormatJSON).SetEscapeHTML(false).EncodeVersion(bom, cyclonedx.SpecVersion1_5) // what scanners of the last years read
	return text.Bytes(), err
}

func (b bill) component(spec *buildcache.Spec) cyclonedx.Component {
	scope := cyclonedx.ScopeRequired
	if !b.inside[spec.Hash] {
		scope = cyclonedx.ScopeExcluded // needed to build, not in the image
	}
	properties := []cyclonedx.Property{
		{Name: "spack:hash", Value: string(spec.Hash)},
		{Name: "spack:variants", Value: Variants(spec)},
		{Name: "spack:target", Value: spec.Target},
	}
	if spec.External {
		properties = append(properties, cyclonedx.Property{Name: "spack:external", Value: spec.ExternalPath})
	}
	return cyclonedx.Component{
		BOMRef: string(spec.Hash), Type: cyclonedx.ComponentTypeLibrary, Name: spec.Name, Version: spec.Version,
		Scope: scope, PackageURL: purl(spec), Properties: &properties,
	}
}

// serial is a UUID made from the image's digest, so that the same image has the
// same one.
func serial(digest string) string {
	sum := sha256.Sum256([]byte("cyclonedx " + digest))
	sum[6] = sum[6]&0x0f | 0x80 // version 8: made by a rule of our own
	sum[8] = sum[8]&0x3f | 0x80
	text := hex.EncodeToString(sum[:16])
	return fmt.Sprintf("urn:uuid:%s-%s-%s-%s-%s", text[:8], text[8:12], text[12:16], text[16:20], text[20:])
}
