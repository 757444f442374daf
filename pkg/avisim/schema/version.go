// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is an API version, packed so that versions compare as numbers. The zero version is older than all others.
type Version uint64

// Oldest is what a request without X-Avi-Version speaks. Evidence: recorded.
const Oldest Version = 16<<48 | 4<<32 | 2<<16

// SCTPSince is the version that brought SCTP, and with it the shipped SCTP profile and monitor. Evidence: documented.
const SCTPSince Version = 22<<48 | 1<<32 | 3<<16

// ParseVersion reads 22.1.3, 22_1_3 and shorter or longer forms of up to four numbers.
func ParseVersion(s string) (Version, error) {
	parts := strings.FieldsFunc(s, func(r rune) bool { return r == '.' || r == '_' })
	if len(parts) < 2 || len(parts) > 4 {
		return 0, fmt.Errorf("version %q is not of the form 22.1.3", s)
	}
	var v Version
	for i := range 4 {
		v <<= 16
		if i < len(parts) {
			n, err := strconv.ParseUint(parts[i], 10, 16)
			if err != nil {
				return 0, fmt.Errorf("version %q: %w", s, err)
			}
			v |= Version(n)
		}
	}
	return v, nil
}

// Join renders the version with the separator between its first three numbers, and the fourth if it has one.
func (v Version) Join(sep string) string {
	s := fmt.Sprintf("%d%s%d%s%d", v>>48, sep, v>>32&0xffff, sep, v>>16&0xffff)
	if last := v & 0xffff; last != 0 {
		s += sep + strconv.FormatUint(uint64(last), 10)
	}
	return s
}

// line is the line of releases that a version belongs to, such as 22.1.
func (v Version) line() Version { return v >> 32 }
