// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// logoutTimeout bounds the logout when the operator stops. A Controller that doesn't answer lets the session expire.
const logoutTimeout = 3 * time.Second

// Run runs the manager until ctx ends or the lease is lost, and then logs out of the Controller, which keeps only so many
// sessions. It returns the manager's error. An Operator runs once: its client is closed afterwards.
func (op *Operator) Run(ctx context.Context, mgr manager.Runnable) error {
	err := mgr.Start(ctx)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutTimeout)
	defer cancel()
	op.client.Close(closing)
	op.events.Stop()
	return err
}
