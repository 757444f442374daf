package avisim

import (
	"fmt"
	"strconv"
	"strings"
)

// version is an API version, packed so that versions compare as numbers. The zero version is older than all others.
type version uint64

// oldest is what a request without X-Avi-Version speaks. Evidence: recorded.
const oldest version = 16<<48 | 4<<32 | 2<<16

// sctpSince is the version that brought SCTP, and with it the shipped SCTP profile and monitor. Evidence: documented.
const sctpSince version = 22<<48 | 1<<32 | 3<<16

// parseVersion reads 22.1.3, 22_1_3 and shorter or longer forms of up to four numbers.
func parseVersion(s string) (version, error) {
	parts := strings.FieldsFunc(s, func(r rune) bool { return r == '.' || r == '_' })
	if len(parts) < 2 || len(parts) > 4 {
		return 0, fmt.Errorf("version %q is not of the form 22.1.3", s)
	}
	var v version
	for i := range 4 {
		v <<= 16
		if i < len(parts) {
			n, err := strconv.ParseUint(parts[i], 10, 16)
			if err != nil {
				return 0, fmt.Errorf("version %q: %w", s, err)
			}
			v |= version(n)
		}
	}
	return v, nil
}

// join renders the version with the separator between its first three numbers, and the fourth if it has one.
func (v version) join(sep string) string {
	s := fmt.Sprintf("%d%s%d%s%d", v>>48, sep, v>>32&0xffff, sep, v>>16&0xffff)
	if last := v & 0xffff; last != 0 {
		s += sep + strconv.FormatUint(uint64(last), 10)
	}
	return s
}

// line is the line of releases that a version belongs to, such as 22.1.
func (v version) line() version { return v >> 32 }
