package attest

import (
	"bytes"
	"strings"
	"time"

	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

const (
	tool         = "spacktainers"
	noAssertion  = "NOASSERTION"
	spdxDocument = common.ElementID("DOCUMENT")
	spdxImage    = common.ElementID("Image")
)

func (b bill) spdx() ([]byte, error) {
	doc := &spdx.Document{
		SPDXVersion:       spdx.Version,
		DataLicense:       spdx.DataLicense,
		SPDXIdentifier:    spdxDocument,
		DocumentName:      b.Name + "-" + b.Version,
		DocumentNamespace: "https://github.com/openbraininstitute/spacktainers/spdx/" + b.Name + "/" + strings.ReplaceAll(b.Digest, ":", "-"),
		CreationInfo: &spdx.CreationInfo{
			Creators: []common.Creator{{CreatorType: "Tool", Creator: tool}, {CreatorType: "Tool", Creator: b.creator}},
			Created:  b.Created.UTC().Format(time.RFC3339),
		},
	}
	_, hex, _ := strings.Cut(b.Digest, ":")
	doc.Packages = append(doc.Packages, &spdx.Package{
		PackageName: b.Name, PackageVersion: b.Version, PackageSPDXIdentifier: spdxImage, PrimaryPackagePurpose: "CONTAINER",
		PackageDownloadLocation: noAssertion, PackageLicenseConcluded: noAssertion, PackageLicenseDeclared: noAssertion, PackageCopyrightText: noAssertion,
		PackageChecksums: []common.Checksum{{Algorithm: common.SHA256, Value: hex}},
	})
	relate := func(from common.ElementID, how string, to common.ElementID) {
		doc.Relationships = append(doc.Relationships, &spdx.Relationship{
			RefA: common.MakeDocElementID("", string(from)), RefB: common.MakeDocElementID("", string(to)), Relationship: how,
		})
	}
	relate(spdxDocument, common.TypeRelationshipDescribe, spdxImage)
	for _, spec := range b.specs {
		doc.Packages = append(doc.Packages, spdxPackage(spec))
		if b.inside[spec.Hash] && !spec.External {
			relate(spdxImage, common.TypeRelationshipContains, element(spec.Hash))
		}
		for _, hash := range needs(spec, buildcache.Runtime) {
			relate(element(spec.Hash), common.TypeRelationshipDependsOn, element(hash))
		}
		for _, hash := range needs(spec, buildcache.Build) {
			relate(element(hash), common.TypeRelationshipBuildDependencyOf, element(spec.Hash))
		}
	}
	var text bytes.Buffer
	err := json.Write(doc, &text)
	return text.Bytes(), err
}

func spdxPackage(spec *buildcache.Spec) *spdx.Package {
	purpose := "INSTALL"
	if spec.External {
		purpose = "OTHER"
	}
	return &spdx.Package{
		PackageName: spec.Name, PackageVersion: spec.Version, PackageSPDXIdentifier: element(spec.Hash), PrimaryPackagePurpose: purpose,
		PackageDownloadLocation: noAssertion, PackageLicenseConcluded: noAssertion, PackageLicenseDeclared: noAssertion, PackageCopyrightText: noAssertion,
		PackageSourceInfo: sourceInfo(spec),
		PackageExternalReferences: []*spdx.PackageExternalReference{{
			Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: purl(spec),
		}},
	}
}

// sourceInfo is what Spack knows and SPDX has no field for.
func sourceInfo(spec *buildcache.Spec) string {
	info := "spack " + spec.Name + "@" + spec.Version + " " + Variants(spec) + " target=" + spec.Target + " hash=" + string(spec.Hash)
	if spec.External {
		info += ", provided by the system at " + spec.ExternalPath
	}
	return info
}

func element(hash buildcache.Hash) common.ElementID { return common.ElementID("Spack-" + string(hash)) }
