// SPDX-License-Identifier: Apache-2.0

package fence

import "time"

var start = time.Now()

// monotonic is Go's own clock, which goes on while the process is stopped, and not while the machine is suspended.
func monotonic() time.Duration { return time.Since(start) }
