package collector

import "bunq_exporter/bunq"

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

// The most device servers left that are read one by one rather than in pages: one costs no more than a page would, and
// where the pages that hold them cannot be asked for, three are what bunq allows at once.
const (
	fewLeft      = 1
	fewLeftExact = 3
)

// readList reads the list until all watched ids have been come by. It leaves out pages that hold none of them, so each
// one has at least one, or shows that it does not exist. Left is what should be read one by one.
func (a *Account) readList(f *flight, at *place) (left []int64, err error) {
	w := newWalk(f.reading.Watched, at.older)
	for {
		page, err := a.readPage(f, w, at)
		if err != nil {
			at.stopped(w.named, err, f.answered())
			return nil, err
		}
		own := a.client.Login().DeviceServerID
		f.add(own, page.DeviceServers...)
		w.pass(page.Older, f.has)
		few := fewLeft
		if at.exact {
			few = fewLeftExact
		}
		switch {
		case page.Older == 0 && w.whole:
			at.older = 0
			if f.complete(own) {
				return w.absent, nil
			}
			return nil, nil
		case len(w.wanted) <= few:
			at.older = 0
			return w.wanted, nil
		case w.older != 0 && !at.exact:
			w.leap()
		}
	}
}

// readPage asks for the walk's next page. Where bunq does not take an older_id of our own, it asks for the page that
// bunq names.
func (a *Account) readPage(f *flight, w *walk, at *place) (bunq.Page, error) {
	page, err := a.client.DeviceServers(f, w.older)
	switch {
	case w.older == w.named, err == nil && len(page.DeviceServers) > 0:
		return page, err
	case err == nil: // there are no older ones, or bunq did not take the id: a device server that is wanted tells
		err = a.readOne(f, w.wanted[0])
		if bunq.ReasonOf(err) == bunq.ReasonNotFound {
			return page, nil
		} else if err != nil {
			return page, err
		}
	case !refusesOlder(err):
		return page, err
	}
	at.exact, w.older = true, w.named
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

// stopped notes where the next reading begins. An error that bunq may give again sends it to the newest page, or it would
// come no further.
func (at *place) stopped(older int64, err error, answered bool) {
	at.older = 0
	if reason := bunq.ReasonOf(err); reason == bunq.ReasonRateLimited || reason == bunq.ReasonTimeout && answered {
		at.older = older
	}
}
