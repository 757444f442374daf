// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package cluster

import (
	"errors"
	"os"
)

// tryLock: the programs of the cluster do not run on systems without advisory locks.
func tryLock(*os.File) (bool, error) { return false, errors.ErrUnsupported }
