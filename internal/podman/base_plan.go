package podman

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// A BuiltBase is a base image in podman's storage.
type BuiltBase struct {
	ID     ID
	Digest string // of its manifest
	Key    string // its build key
}

// A BasePlan says what is to be done about a base image, and why. Where it is neither
// to be built nor to be taken there is nothing to do.
type BasePlan struct {
	Base    Base               // pinned
	Key     string             // its build key
	ToBuild bool               // from its Dockerfile
	ToTake  v1.Image           // what the registry has; nil where it is not taken
	Here    BuiltBase          // the one in podman's storage, of whatever build key; no ID where there is none
	Changes []container.Change // since that one was built, where it tells from what

	force bool // nothing of an earlier build is used
}

// Plan compares a pinned base image with the one in podman's storage, and with what is published. It
// changes nothing. With force it is built, whatever there is.
func (b Base) Plan(ctx context.Context, p Podman, force bool) (BasePlan, error) {
	plan, err := b.plan(ctx, p, force)
	if err != nil {
		return plan, b.fails(err)
	}
	return plan, nil
}

// fails says of an error whose it is.
func (b Base) fails(err error) error {
	return fmt.Errorf("base image %s for %s: %w", b.Name, b.Platform, err)
}

func (b Base) plan(ctx context.Context, p Podman, force bool) (BasePlan, error) {
	inputs, err := b.inputs()
	if err != nil {
		return BasePlan{}, err
	}
	plan := BasePlan{Base: b, Key: image.BuildKey(inputs), force: force}
	found, err := p.inspect(ctx, b.Tag(), image.LabelBuildKey)
	plan.Here = BuiltBase{found.ID, found.Digest, found.Label}
	if err != nil || found.Label == plan.Key && !force {
		return plan, err
	}
	if found.ID != "" {
		if plan.Changes, err = b.changes(ctx, p, inputs); err != nil {
			return plan, err
		}
	}
	if b.Published != nil && !force {
		plan.ToTake, err = b.Published(ctx, b, plan.Key)
	}
	plan.ToBuild = plan.ToTake == nil
	return plan, err
}

// changes are the inputs that are others than those of the base image in podman's storage; none
// where that does not tell.
func (b Base) changes(ctx context.Context, p Podman, inputs []image.Input) ([]container.Change, error) {
	found, err := p.inspect(ctx, b.Tag(), image.LabelInputs)
	var before []image.Input
	if err != nil || json.Unmarshal([]byte(found.Label), &before) != nil {
		return nil, err
	}
	return container.Compare(before, inputs), nil
}

// Apply does what was planned. Logs are in the folder work; native is true where this machine's own
// images have the platform.
func (plan BasePlan) Apply(ctx context.Context, p Podman, work string, native bool) (BuiltBase, error) {
	b := plan.Base
	var err error
	switch {
	case plan.ToTake != nil:
		if err = b.take(ctx, p, plan.ToTake, native); err != nil {
			err = fmt.Errorf("take it from the registry: %w", err)
		}
	case plan.ToBuild:
		err = b.make(ctx, p, work, plan.Key, native, plan.force)
	default:
		return plan.Here, nil
	}
	if err != nil {
		return BuiltBase{}, b.fails(err)
	}
	found, err := p.inspect(ctx, b.Tag(), image.LabelBuildKey)
	if err == nil && (found.ID == "" || plan.ToTake != nil && found.Label != plan.Key) {
		err = errors.New("podman has made it and does not know it")
	}
	if err != nil {
		return BuiltBase{}, b.fails(err)
	}
	return BuiltBase{found.ID, found.Digest, plan.Key}, nil
}
