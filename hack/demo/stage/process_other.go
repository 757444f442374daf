// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package stage

import "syscall"

// processAttributes has nothing portable to offer.
func processAttributes() *syscall.SysProcAttr { return nil }
