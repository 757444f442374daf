// SPDX-License-Identifier: Apache-2.0

// Package integration runs the operator against a real API server and a simulated Controller.
package integration

import (
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

func TestMain(m *testing.M) { suite.Main(m) }
