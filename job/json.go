package job

import (
	"encoding/json"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
)

// deepest is how many brackets the fast check may meet: it calls itself for each level.
const deepest = 1000

// validJSON is json.Valid, in a quarter of its time: every job is looked at twice, by who
// hands it in and by who runs it.
func validJSON(s string) bool {
	if len(s) > deepest && strings.Count(s, "[")+strings.Count(s, "{") > deepest {
		return json.Valid([]byte(s))
	}
	return gjson.Valid(s)
}

// text is b without a copy, to look at while nobody writes to b.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
