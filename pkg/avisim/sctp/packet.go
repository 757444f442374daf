// SPDX-License-Identifier: Apache-2.0

package sctp

import (
	"encoding/binary"
	"hash/crc32"
)

// What of RFC 9260 this package looks at itself: the common header, and the types of chunks.
const (
	headerLength = 12
	chunkLength  = 4

	chunkInit             = 1
	chunkInitAck          = 2
	chunkAbort            = 6
	chunkShutdownAck      = 8
	chunkError            = 9
	chunkCookieAck        = 11
	chunkShutdownComplete = 14

	// reflectedTag is the T bit: the verification tag is the other side's, since this one has no association.
	reflectedTag = 1
)

// castagnoli is the polynomial of RFC 9260, appendix A.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// packet is an SCTP packet as it is on the wire.
type packet []byte

func (p packet) source() uint16      { return binary.BigEndian.Uint16(p) }
func (p packet) destination() uint16 { return binary.BigEndian.Uint16(p[2:]) }
func (p packet) tag() uint32         { return binary.BigEndian.Uint32(p[4:]) }

// setPorts changes the ports and with them the checksum.
func (p packet) setPorts(source, destination uint16) {
	binary.BigEndian.PutUint16(p, source)
	binary.BigEndian.PutUint16(p[2:], destination)
	binary.LittleEndian.PutUint32(p[8:], p.checksum())
}

// checksum is the CRC32c of the packet with zeros where the checksum is.
func (p packet) checksum() uint32 {
	sum := crc32.Update(0, castagnoli, p[:8])
	sum = crc32.Update(sum, castagnoli, make([]byte, 4))
	return crc32.Update(sum, castagnoli, p[headerLength:])
}

// valid reports whether the packet is whole: a header with the right checksum, and at least one chunk.
func (p packet) valid() bool {
	return len(p) >= headerLength+chunkLength && binary.LittleEndian.Uint32(p[8:]) == p.checksum()
}

// has reports whether one of the chunks is of a type.
func (p packet) has(kind byte) bool {
	for rest := p[headerLength:]; len(rest) >= chunkLength; {
		if rest[0] == kind {
			return true
		}
		length := int(binary.BigEndian.Uint16(rest[2:]))
		if length < chunkLength {
			return false
		}
		rest = rest[min(len(rest), (length+3)&^3):]
	}
	return false
}

// outOfTheBlue is the answer to a packet that belongs to no association (RFC 9260, section 8.4), nil if there is none: an ABORT,
// which to an INIT says that nobody listens, or SHUTDOWN COMPLETE for who still waits for it.
func (p packet) outOfTheBlue() packet {
	kind := p[headerLength]
	answer, flags, tag := byte(chunkAbort), byte(reflectedTag), p.tag()
	switch {
	case p.has(chunkAbort), p.has(chunkShutdownComplete), p.has(chunkError), p.has(chunkCookieAck):
		return nil
	case kind == chunkInit:
		if len(p) < headerLength+chunkLength+4 {
			return nil
		}
		flags, tag = 0, binary.BigEndian.Uint32(p[headerLength+chunkLength:])
	case kind == chunkInitAck:
		return nil
	case kind == chunkShutdownAck:
		answer = chunkShutdownComplete
	}
	out := make(packet, headerLength+chunkLength)
	binary.BigEndian.PutUint32(out[4:], tag)
	out[headerLength], out[headerLength+1], out[headerLength+3] = answer, flags, chunkLength
	out.setPorts(p.destination(), p.source())
	return out
}
