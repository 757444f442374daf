// SPDX-License-Identifier: Apache-2.0

// Command avisim runs a simulated Avi Controller, of the operator's release; what it does is in package pkg/avisim/command.
package main

import (
	"github.com/avi-l4-operator/avi-l4-operator/internal/version"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/command"
)

func main() { command.Main(version.String()) }
