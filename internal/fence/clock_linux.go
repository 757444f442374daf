// SPDX-License-Identifier: Apache-2.0

package fence

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot counts the time that the machine was suspended too, which Go's own monotonic clock leaves out. Setting the date
// doesn't move it.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return monotonic()
	}
	return time.Duration(t.Nano())
}
