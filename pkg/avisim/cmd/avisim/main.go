// SPDX-License-Identifier: Apache-2.0

// Command avisim runs a simulated Avi Controller. It is here, and not in the operator's module alone, so that "go install" can fetch it.
package main

import "github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/command"

func main() { command.Main("") }
