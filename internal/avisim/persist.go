package avisim

// follow keeps what depends on the objects up to date with the store.
func (s *Server) follow(old, now *object) {
	switch {
	case now == nil:
		delete(s.overrides, old.ref)
		if old.typ == "vsvip" {
			s.ipam.release(old.uuid, s.now())
		}
	case now.typ == "vsvip":
		s.settleVIPs(now, old)
	}
	s.placement.changed(old, now)
	s.dirty()
}

func (s *Server) dirty() {}
