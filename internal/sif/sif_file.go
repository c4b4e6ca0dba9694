package sif

import (
	"bytes"
	"encoding/json"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/sylabs/sif/v2/pkg/sif"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// launcher makes a SIF a program: ./image.sif runs it where apptainer is.
const launcher = "#!/usr/bin/env run-singularity\n"

// writeSIF writes the file system at squashfs into a SIF, with the objects that
// apptainer writes, in its order. Identity and times come from the image, so
// that the same image gives the same bytes.
func writeSIF(path, squashfs string, f apptainerFiles, digest v1.Hash, arch string) error {
	inspection, err := f.inspection()
	if err != nil {
		return err
	}
	config, err := json.Marshal(f.config)
	if err != nil {
		return err
	}
	system, err := os.Open(squashfs)
	if err != nil {
		return err
	}
	defer system.Close()
	definition, err := sif.NewDescriptorInput(sif.DataDeffile, bytes.NewReader([]byte(f.definition)))
	if err != nil {
		return err
	}
	inspect, err := sif.NewDescriptorInput(sif.DataGenericJSON, bytes.NewReader(inspection), sif.OptObjectName("inspect-metadata.json"))
	if err != nil {
		return err
	}
	oci, err := sif.NewDescriptorInput(sif.DataGenericJSON, bytes.NewReader(config), sif.OptObjectName("oci-config.json"))
	if err != nil {
		return err
	}
	partition, err := sif.NewDescriptorInput(sif.DataPartition, system, sif.OptPartitionMetadata(sif.FsSquash, sif.PartPrimSys, arch))
	if err != nil {
		return err
	}
	image, err := sif.CreateContainerAtPath(path,
		sif.OptCreateWithLaunchScript(launcher),
		sif.OptCreateWithID(uuid.NewSHA1(uuid.NameSpaceOID, []byte(digest.String())).String()),
		sif.OptCreateWithTime(time.Unix(0, 0)),
		sif.OptCreateWithDescriptors(definition, inspect, oci, partition),
	)
	if err != nil {
		return err
	}
	return image.UnloadContainer()
}
