// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"

	"github.com/gofrs/flock"
)

// claim makes the state file this world's own until release: two that saved to one file would each undo what the other did. The lock is
// on a file beside it, since the state file itself is replaced at each save, and it ends with the process, however that ends.
func (w *World) claim() error {
	file := w.settings.StateFile
	if file == "" {
		return nil
	}
	lock := flock.New(file+".lock", flock.SetPermissions(0o600))
	free, err := lock.TryLock()
	switch {
	case err != nil:
		return fmt.Errorf("locking the state file: %w", err)
	case !free:
		return fmt.Errorf("state file %s is another simulator's, which is running: stop that one, or use another file", file)
	}
	w.lock = lock
	return nil
}

// release ends claim.
func (w *World) release() {
	if w.lock != nil {
		_ = w.lock.Unlock() // it ends with the process at the latest
	}
}
