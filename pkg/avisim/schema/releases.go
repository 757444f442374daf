// SPDX-License-Identifier: Apache-2.0

package schema

// Release says what the table of fields makes of one release, and how well that is known.
type Release struct {
	Version string
	Fields  int // that it has, of all messages
	Later   int // that came after it
	Gone    int // that it has no longer
	Basis   string
	Known   Evidence // of the fields; limits and defaults are everywhere those of 30.2.1
}

// bases say what is public of each release. All tables are made from one, that of 30.2.1, by the dates which its fields carry.
var bases = []Release{
	{Version: "22.1.3", Known: Documented, Basis: "the schema of 30.2.1 without the fields that are dated later, and with those that it had still"},
	{Version: "30.1.1", Known: Documented, Basis: "the same"},
	{Version: "30.2.1", Known: Documented, Basis: "the published schema"},
	{Version: "31.1.1", Known: Unverified, Basis: "taken for 30.2.1: what this release added is left out"},
	{Version: "31.2.1", Known: Inferred, Basis: "30.2.1 with `Pool.graceful_disable_timeout_sec` in place of `graceful_disable_timeout`, which is documented;" +
		" that SCTP and L4 rules are as before, too; what else was added is left out"},
}

// Releases lists releases with what is known of them, oldest first. Other versions are between those.
func Releases() []Release {
	out := make([]Release, len(bases))
	for i, r := range bases {
		at, err := ParseVersion(r.Version)
		if err != nil {
			panic("avisim: " + err.Error()) // the versions are constants
		}
		for _, m := range Messages() {
			for _, f := range m.Fields {
				switch {
				case f.gone(at):
					r.Gone++
				case !f.Known(at):
					r.Later++
				default:
					r.Fields++
				}
			}
		}
		out[i] = r
	}
	return out
}
