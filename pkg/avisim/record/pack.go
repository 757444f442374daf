// SPDX-License-Identifier: Apache-2.0

package record

import (
	"net/http"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// packed is an entry as the log keeps it: one piece of memory. As a Request with its maps, strings and the buffers that they are parts of,
// an entry takes several times as much, which no sum of lengths tells.
type packed []byte

// perEntry is what the log takes for an entry beside its bytes: the slice's header, and the allocator's rounding of small pieces.
const perEntry = 64

// size is what the entry costs in bytes: its own, with what the allocator rounds up.
func (p packed) size() int { return perEntry + len(p) + len(p)/16 }

// wire is a Request in the order in which it is packed.
type wire struct {
	_                                                         struct{} `cbor:",toarray"`
	ID, Time, Took                                            int64
	Method, Path, Query, Route, Type, Tenant, Version, Faults string
	Status                                                    int
	Body, Response                                            []byte
	Header, ResponseHeader                                    http.Header
}

func pack(r *Request) packed {
	b, err := cbor.Marshal(wire{ID: r.ID, Time: r.Time.UnixNano(), Took: int64(r.Took), Method: r.Method, Path: r.Path, Query: r.Query,
		Route: r.Route, Type: r.Type, Tenant: r.Tenant, Version: r.Version, Faults: r.Fault, Status: r.Status, Body: r.Body, Response: r.Response,
		Header: r.Header, ResponseHeader: r.ResponseHeader})
	if err != nil { // texts, numbers and bytes can always be written
		panic("avisim: packing a request: " + err.Error())
	}
	return b
}

func (p packed) unpack() Request {
	var w wire
	if err := anyText.Unmarshal(p, &w); err != nil { // it is what pack wrote
		panic("avisim: unpacking a request: " + err.Error())
	}
	return Request{ID: w.ID, Time: time.Unix(0, w.Time), Took: time.Duration(w.Took), Method: w.Method, Path: w.Path, Query: w.Query,
		Route: w.Route, Type: w.Type, Tenant: w.Tenant, Version: w.Version, Fault: w.Faults, Status: w.Status, Body: w.Body, Response: w.Response,
		Header: w.Header, ResponseHeader: w.ResponseHeader}
}

// anyText reads texts as clients send them, which need not be UTF-8.
var anyText = func() cbor.DecMode {
	m, err := cbor.DecOptions{UTF8: cbor.UTF8DecodeInvalid}.DecMode()
	if err != nil { // the options are constants
		panic(err)
	}
	return m
}()
