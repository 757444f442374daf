// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/internal/engine"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// This file is what the annotations paused and dry-run (translate.Restraint) mean for an owner that is not to be served any more. What they
// mean for one that is, the engine knows.

// clinging is what keeps an object's share of the Controller from being removed because of labels, settings, class or type. Its deletion,
// and deleteConfig, are explicit, and go through.
func clinging(cfg *settings.Settings, o client.Object) translate.Restraint {
	if cfg.DeleteConfig || o.GetDeletionTimestamp() != nil {
		return translate.Restraint{}
	}
	return translate.RestraintOf(o.GetAnnotations())
}

// restrained is nil if nothing keeps what the Controller holds of an owner from being removed.
func (r *owners[T]) restrained(cfg *settings.Settings, o T, why string) error {
	by := clinging(cfg, o)
	if !by.Any() {
		return nil
	}
	if err := r.Engine.Mirror.Err(); err != nil {
		return err // what isn't known to be there may be there
	}
	owner := r.ownerOf(o)
	name := translate.VirtualServiceName(cfg, owner)
	if !r.Engine.Holds(owner, name) {
		return nil
	}
	return r.Engine.Kept(owner, name, why, by)
}

// reasonHeld is the reason of an error that says why something is kept; empty if nobody knows yet.
func reasonHeld(err error) string {
	if errors.As(err, new(heldError)) {
		return model.ReasonDeletionHeld
	}
	return engine.Restrained(err).Reason
}
