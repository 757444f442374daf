//go:build !linux

package stage

import "syscall"

// processAttributes has nothing portable to offer.
func processAttributes() *syscall.SysProcAttr { return nil }
