// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cluster

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes an advisory lock, which the system releases when the process ends, whatever its end.
func tryLock(file *os.File) (bool, error) {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
