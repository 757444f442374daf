// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"strconv"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
)

// serviceOf is the Service whose pool a step changes, "" for other steps.
func (e *Engine) serviceOf(s plan.Step) string {
	body := s.Body
	if o := e.Mirror.Get(s.Key); o != nil {
		body = o.Body
	}
	if pool, ok := body.(*models.Pool); ok {
		return model.Mark(pool.Markers, model.MarkServiceName)
	}
	return ""
}

// Ports are those that the Controller holds pools for of an owner, each with the Service behind it.
func (e *Engine) Ports(owner model.Owner, name string) map[model.Port]string {
	out := make(map[model.Port]string)
	for _, o := range e.Mirror.Of(owner, name) {
		pool, ok := o.Body.(*models.Pool)
		if !ok {
			continue
		}
		number, err := strconv.ParseInt(model.Mark(pool.Markers, model.MarkPort), 10, 32)
		if err == nil {
			port := model.Port{Number: int32(number), Protocol: model.Mark(pool.Markers, model.MarkProtocol)}
			out[port] = model.Mark(pool.Markers, model.MarkServiceName)
		}
	}
	return out
}
