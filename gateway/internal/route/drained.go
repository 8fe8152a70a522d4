package route

import "github.com/millracehq/millrace/internal/loop"

// Drained is conn.Router's: c, which did not read fast enough for a while, has taken all that waited for it. Policies for
// slow readers that drop or replace publications instead of closing take up here: what they owe c, a gap or the newest of a channel,
// fits now. Under the policy close nothing is owed.
func (*Router) Drained(loop.Conn) {}
