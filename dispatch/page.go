package dispatch

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"time"

	"ringmaster/job"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// pagePolicy lets the page run its own style and script, by their hashes, and ask this
// server; nothing else.
var pagePolicy = "default-src 'none'; style-src " + hashSource(pageCSS) + "; script-src " + hashSource(pageJS) +
	"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func hashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// pageData is what the page shows without a script; the script goes on from there.
type pageData struct {
	CSS        template.CSS
	JS         template.JS
	Now        string
	Error      string
	Selected   string
	Queues     []job.QueueView
	Ring       *job.RingView
	Phase      string
	Members    []pageMember
	Partitions []pagePartition
}

type pageMember struct {
	job.RingMember
	Colour string
	Owned  int
}

type pagePartition struct {
	job.PartitionView
	Name   string // of the owner
	Colour string
}

// page shows queues and one ring. Where something cannot be read it says so and shows
// the rest: it is what people look at when things go wrong.
func (h *handler) page(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := h.bounded(r)
	defer cancel()
	d := pageData{CSS: template.CSS(pageCSS), JS: template.JS(pageJS), Now: time.Now().Format(time.TimeOnly)}
	if q := r.URL.Query(); q.Has("queue") {
		d.Selected = q.Get("queue")
		if err := job.CheckName("queue", d.Selected); err != nil {
			return err
		}
	}
	status := http.StatusOK
	if err := h.fillPage(ctx, &d); err != nil {
		p := kindOf(err)
		d.Error = p.Detail
		status = p.Status
		if p.Type == "internal" {
			h.o.Log.Error("page", "error", err)
		}
	}
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, d); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	head := w.Header()
	head.Set("Content-Type", "text/html; charset=utf-8")
	head.Set("Content-Security-Policy", pagePolicy)
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
	return nil
}

func (h *handler) fillPage(ctx context.Context, d *pageData) error {
	queues, err := h.api.QueueViews(ctx)
	if err != nil {
		return err
	}
	d.Queues = queues
	if d.Selected == "" && len(queues) > 0 {
		d.Selected = queues[0].Queue
	}
	if d.Selected == "" {
		return nil
	}
	ring, err := h.api.RingView(ctx, d.Selected)
	if err != nil {
		return err
	}
	d.showRing(&ring)
	return nil
}

// pageColours is how many classes c0, c1, ... the style knows.
const pageColours = 8

func (d *pageData) showRing(ring *job.RingView) {
	d.Ring, d.Phase = ring, phaseText(ring.Phase)
	owned := map[string]int{}
	for _, p := range ring.Partitions {
		owned[p.Owner]++
	}
	members := map[string]pageMember{}
	for i, m := range ring.Members {
		pm := pageMember{RingMember: m, Colour: "c" + strconv.Itoa(i%pageColours), Owned: owned[m.Incarnation]}
		members[m.Incarnation] = pm
		d.Members = append(d.Members, pm)
	}
	for _, p := range ring.Partitions {
		row := pagePartition{PartitionView: p, Name: p.Owner}
		if m, ok := members[p.Owner]; ok {
			row.Name, row.Colour = m.Name, m.Colour
		} else if p.Owner == "-" {
			row.Name = "nobody"
		}
		d.Partitions = append(d.Partitions, row)
	}
}

func phaseText(phase int) string {
	switch phase {
	case 0:
		return "at rest"
	case 1:
		return "1 stopping"
	case 2:
		return "2 synchronising"
	case 3:
		return "3 resuming"
	}
	return strconv.Itoa(phase)
}
