package dispatch

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"
)

// Many lines are answered while more of them come. A client that sends all before it reads
// would then wait for us, and we for it. So the first answers are kept, and nothing is sent
// while the body comes, until they are more than answersKept: some 20,000 lines. A longer body
// needs a client that reads while it sends, as curl does.
const (
	answersKept = 1 << 20
	answersWait = time.Minute // for the client to take some
)

// lineAnswers are those to the lines of one request, in order.
type lineAnswers struct {
	w       http.ResponseWriter
	control *http.ResponseController
	kept    bytes.Buffer
	begun   bool // the head and some answers are sent
	gone    bool // the client takes no more
}

func newAnswers(w http.ResponseWriter) *lineAnswers {
	return &lineAnswers{w: w, control: http.NewResponseController(w)}
}

// add takes answers, and sends what is kept if it is much.
func (a *lineAnswers) add(results []lineResult) {
	for _, res := range results {
		a.kept.Write(append(res.append(a.kept.AvailableBuffer()), '\n'))
	}
	if a.begun || a.kept.Len() > answersKept {
		a.send()
	}
}

// send blocks until the client has taken what is kept, answersWait at most.
func (a *lineAnswers) send() {
	if !a.begun {
		a.begun = true
		_ = a.control.EnableFullDuplex() // HTTP/2 always is; where it cannot be the body is read first
		a.head()
	}
	_ = a.control.SetWriteDeadline(time.Now().Add(answersWait))
	_, err := a.w.Write(a.kept.Bytes())
	if err == nil {
		err = a.control.Flush()
	}
	a.gone = a.gone || err != nil
	a.kept.Reset()
}

func (a *lineAnswers) head() {
	a.w.Header().Set("Content-Type", typeNDJSON)
	a.w.WriteHeader(http.StatusOK)
}

// end sends the rest.
func (a *lineAnswers) end() error {
	if a.begun {
		a.send()
		_ = a.control.SetWriteDeadline(time.Time{})
		return nil
	}
	a.head()
	_, _ = a.w.Write(a.kept.Bytes())
	return nil
}

// cut tells that the body could not be read beyond line n: with a status of its own where none
// was sent yet, and all answers in the problem; else by an answer that is cut as well, which a
// client sees as a broken transfer.
func (a *lineAnswers) cut(n int, err error) error {
	if !a.begun {
		p := kindOf(err)
		for line := range bytes.Lines(a.kept.Bytes()) {
			p.Results = append(p.Results, json.RawMessage(bytes.TrimSpace(line)))
		}
		p.Detail += "; what became of the lines before it stands in results"
		return p
	}
	a.add([]lineResult{{line: n, err: err}})
	panic(http.ErrAbortHandler) // the one way net/http has to break an answer off
}
