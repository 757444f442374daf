// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package fence

import "time"

func sinceBoot() time.Duration { return monotonic() }
