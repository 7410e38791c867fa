package collector

import (
	"time"

	"bunq_exporter/bunq"
)

// walk is one way through the list: down to the oldest and, if it did not begin there, on from the newest.
type walk struct {
	wanted []int64 // watched ids that it has not come by yet, in the order of the list
	absent []int64 // those that it has come by, and that the list does not show
	named  int64   // the next page by bunq's own word: its older_id, 0 for the newest
	older  int64   // the page that is asked for: that one, or one further down
	whole  bool    // every page since the newest was read
}

func newWalk(watched []int64, older int64) *walk {
	w := &walk{wanted: newestFirst(watched, older)}
	if len(w.wanted) > 0 && w.wanted[0] < older {
		w.named, w.older = older, older
	}
	w.whole = w.older == 0
	return w
}

// pass notes that a page was read, and which one comes after it.
func (w *walk) pass(older int64, shown func(int64) bool) {
	for len(w.wanted) > 0 && w.wanted[0] >= older && (w.older == 0 || w.wanted[0] < w.older) {
		if !shown(w.wanted[0]) {
			w.absent = append(w.absent, w.wanted[0])
		}
		w.wanted = w.wanted[1:]
	}
	if len(w.wanted) > 0 && w.wanted[0] >= older {
		older = 0 // the others are newer than where it began
	}
	w.named, w.older = older, older
}

// leap leaves out the pages above the next id that is wanted.
func (w *walk) leap() {
	w.older = min(w.named, w.wanted[0]+1)
	w.whole = w.whole && w.older == w.named
}

// readList reads the list until all watched ids have been come by. It leaves out pages that hold none of them, so each
// one has at least one, or shows that it does not exist. Left is what should be read one by one.
func (a *Account) readList(f *flight, w *walk, at *place) (left []int64, err error) {
	for {
		page, err := a.readPage(f, w, at)
		if err != nil {
			return nil, err
		}
		f.add(page.DeviceServers...)
		w.pass(page.Older, f.has)
		switch {
		case page.Older == 0 && w.whole:
			if f.complete() {
				return w.absent, nil
			}
			return nil, nil
		case len(w.wanted) <= at.few():
			return w.wanted, nil
		case w.older != 0 && !until(at.named):
			w.leap()
		}
	}
}

// few is how many device servers are read one by one rather than in pages: one costs no more than a page would, and where
// the pages that hold them cannot be asked for, three are what bunq allows at once.
func (at *place) few() int {
	switch {
	case until(at.pagesOnly):
		return 0
	case until(at.named):
		return 3
	}
	return 1
}

// readPage asks for the walk's next page. Where bunq does not take an older_id of our own, it asks for the page that
// bunq names.
func (a *Account) readPage(f *flight, w *walk, at *place) (bunq.Page, error) {
	page, err := a.client.DeviceServers(f, w.older)
	switch {
	case w.older == w.named, err == nil && len(page.DeviceServers) > 0:
		return page, err
	case err == nil && !at.compares && !f.has(w.named+1): // nothing is there, or bunq compares no such id
		// The oldest device server seen is below another number of our own.
		control, err := a.client.DeviceServers(f, w.named+1)
		if err != nil && !refusesOlder(err) {
			return page, err
		}
		f.add(control.DeviceServers...)
		at.compares = len(control.DeviceServers) > 0
	case err != nil && !refusesOlder(err):
		return page, err
	}
	if err == nil && at.compares {
		return page, nil
	}
	at.named, w.older = time.Now().Add(believed), w.named
	return a.client.DeviceServers(f, w.older)
}

// refusesOlder reports whether an error may be bunq's answer to an older_id that it did not name itself.
func refusesOlder(err error) bool {
	switch bunq.ReasonOf(err) {
	case bunq.ReasonClient, bunq.ReasonNotFound, bunq.ReasonMalformed:
		return true
	}
	return false
}
