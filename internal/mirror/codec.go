// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// codec compresses bodies, which are much alike: the names of fields, AKO's service_metadata and the Controller's references make up
// nine tenths of each. The first ones that it is given become its dictionary and stay as they are. The zero value is ready.
type codec struct {
	mu     sync.Mutex
	sample []byte
	enc    *zstd.Encoder // nil until there is a dictionary
	dec    *zstd.Decoder
}

const (
	// sampleSize is when the dictionary is complete, in bytes: four Services, or one Gateway.
	sampleSize = 24 << 10
	// window is how far back a body may repeat itself, in bytes. A pool of a hundred servers fits.
	window = 32 << 10
	// dictionary is any number but 0, which stands for none.
	dictionary = 1
)

// packed is what a codec has made of a body. It is plain if by is nil.
type packed struct {
	by   *codec
	data string
}

// pack compresses a body.
func (c *codec) pack(body []byte) (packed, error) {
	enc, err := c.encoder(body)
	if err != nil || enc == nil {
		return packed{data: string(body)}, err
	}
	return packed{c, string(enc.EncodeAll(body, make([]byte, 0, len(body))))}, nil
}

// encoder is nil for a body that goes into the dictionary.
func (c *codec) encoder(body []byte) (*zstd.Encoder, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.enc != nil {
		return c.enc, nil
	}
	if len(c.sample) < sampleSize {
		c.sample = append(c.sample, body[:min(len(body), sampleSize/4)]...)
		return nil, nil
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderDictRaw(dictionary, c.sample), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("compressing what is known of the Controller: %w", err)
	}
	c.dec, err = zstd.NewReader(nil, zstd.WithDecoderDictRaw(dictionary, c.sample), zstd.WithDecoderConcurrency(2),
		zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("compressing what is known of the Controller: %w", err)
	}
	c.enc = enc
	return enc, nil
}

// body is what was packed.
func (p packed) body() ([]byte, error) {
	if p.by == nil {
		return []byte(p.data), nil
	}
	return p.by.dec.DecodeAll([]byte(p.data), nil)
}

// same reports whether the bodies are equal.
func (p packed) same(other packed) bool {
	if p.by == other.by && p.data == other.data {
		return true
	}
	a, errA := p.body()
	b, errB := other.body()
	return errA == nil && errB == nil && bytes.Equal(a, b)
}
