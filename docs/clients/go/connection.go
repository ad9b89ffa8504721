package main

import (
	"context"
	"errors"
	"math/rand"
	"strconv"
	"sync"
	"time"

	gatewayv1 "gateway/v1"
)

const steady = time.Second // after which a connection counts as good

// Connection is one conversation with gatewayd that outlives its connections.
//
// The stream may break at any time. What then has to be said again is kept here: the subscriptions, each with the
// cursor behind the last event that was handled, and the requests that have no answer yet. Saying a request twice is
// safe, because every event has an id and every send an idempotency key: the daemon knows what it has taken.
type Connection struct {
	Address       string // HOST:PORT
	Token         string // crosses the network as it is: beyond loopback, use TLS credentials instead of WithInsecure
	ClientID      string
	ClientVersion string
	// OnAddressed gets what is for this client itself, or for an agent that it answers for, and comes by no subscription:
	// heartbeats, broadcasts, events with a target. Set it before Run; what has to wait for the daemon needs a goroutine.
	OnAddressed func(*gatewayv1.Event)

	mu            sync.Mutex
	stats         Stats
	link          *link // welcomed, else nil
	resumeToken   string
	standing      []*standing // what every new connection is told first
	subscriptions map[string]*subscription
	requests      map[uint64]*request
	agents        map[string]served             // those that this client answers for
	calls         map[string]context.CancelFunc // by call id: those that are being answered
	lastRequest   uint64
	attempts      int
	err           error         // why it has ended for good
	done          chan struct{} // closed with it
}

// Stats tells how the connection has fared.
type Stats struct {
	Connections int      // welcomes so far
	Resumed     int      // how many of them took up the connection before
	Lost        []string // why subscriptions ended with those
}

// A standing thing is said anew on every connection.
type standing struct {
	frame  func() *gatewayv1.ConnectRequest
	answer func(*gatewayv1.Accepted, error)
}

type subscription struct {
	cursor string
	handle func(*gatewayv1.Event)
}

// A request is kept until it is answered, whatever number of connections that takes.
type request struct {
	frame     *gatewayv1.ConnectRequest
	onPartial func(*gatewayv1.Reply)
	isSend    bool // accepted is not the last word: a reply follows
	accepted  bool
	standing  *standing   // its answer belongs to one connection alone
	answer    chan answer // with room for one, so that nobody waits for a caller that has gone
}

type answer struct {
	accepted *gatewayv1.Accepted
	reply    *gatewayv1.Reply
	err      error
}

// NewConnection makes one; Run opens it.
func NewConnection(address, token, clientID, clientVersion string) *Connection {
	return &Connection{
		Address: address, Token: token, ClientID: clientID, ClientVersion: clientVersion,
		OnAddressed:   func(*gatewayv1.Event) {},
		subscriptions: map[string]*subscription{}, requests: map[uint64]*request{}, done: make(chan struct{}),
		agents: map[string]served{}, calls: map[string]context.CancelFunc{},
		stats: Stats{Lost: []string{}},
	}
}

// Run keeps a connection open until the context ends, or until the daemon will not have us: the error says why.
func (c *Connection) Run(ctx context.Context) error {
	for {
		began := time.Now()
		end := c.converse(ctx)
		if ctx.Err() != nil {
			return c.fail(ctx.Err())
		}
		if err := c.Err(); err != nil {
			return err
		}
		if end.Fatal {
			return c.fail(end)
		}
		if time.Since(began) >= steady {
			c.attempts = 0
		}
		select {
		case <-time.After(c.backoff(end.RetryAfter)):
		case <-ctx.Done():
		}
	}
}

// Stats returns a copy.
func (c *Connection) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// Done is closed when the connection has ended for good; Err then says why.
func (c *Connection) Done() <-chan struct{} { return c.done }

// Err is nil until Done is closed.
func (c *Connection) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Subscribe returns once it is accepted. handle gets every event that the filter selects, across connections, one at a
// time; the cursor moves on when it has returned. A reader that is too slow is told so and begins again at its cursor.
func (c *Connection) Subscribe(ctx context.Context, id string, filter *gatewayv1.EventFilter, handle func(*gatewayv1.Event)) error {
	sub := &subscription{handle: handle}
	c.mu.Lock()
	c.subscriptions[id] = sub
	c.mu.Unlock()
	return c.hold(ctx, func() *gatewayv1.ConnectRequest {
		return &gatewayv1.ConnectRequest{Frame: &gatewayv1.ConnectRequest_Subscribe{Subscribe: &gatewayv1.Subscribe{
			SubscriptionId: id, Filter: filter, Since: sub.cursor,
		}}}
	}, func(accepted *gatewayv1.Accepted) { c.advance([]string{id}, accepted.GetCursor()) })
}

// hold says a frame on this and every later connection, and returns once it is accepted for the first time. What is
// refused then is not said again.
func (c *Connection) hold(ctx context.Context, frame func() *gatewayv1.ConnectRequest, onAccepted func(*gatewayv1.Accepted)) error {
	accepted := make(chan error, 1)
	isNew := true
	s := &standing{frame: frame}
	s.answer = func(a *gatewayv1.Accepted, err error) {
		switch {
		case err == nil:
			onAccepted(a)
		case isNew:
			c.drop(func(other *standing) bool { return other == s })
		default:
			// HISTORY_LOST, for one: only the application knows how to go on without those events.
			c.fail(err)
		}
		if isNew {
			isNew = false
			accepted <- err
		}
	}
	c.stand(s)
	select {
	case err := <-accepted:
		return err
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Publish returns once the events are taken, and the durable ones on disk: the cursor is the place of the last of those.
// Each of them must have an id.
func (c *Connection) Publish(ctx context.Context, events []*gatewayv1.Event) (*gatewayv1.Accepted, error) {
	for _, event := range events {
		if event.Id == "" && !event.Ephemeral {
			return nil, errors.New("an event without an id would be stored twice if its answer were lost")
		}
	}
	frame := &gatewayv1.ConnectRequest{Frame: &gatewayv1.ConnectRequest_Publish{Publish: &gatewayv1.Publish{Events: events}}}
	got := c.request(ctx, &request{frame: frame})
	return got.accepted, got.err
}

// Send returns the final reply. onPartial gets the text as it is produced; after a cut, its Offset says where a piece
// belongs, and the final reply has the whole.
func (c *Connection) Send(ctx context.Context, send *gatewayv1.Send, onPartial func(*gatewayv1.Reply)) (*gatewayv1.Reply, error) {
	if send.IdempotencyKey == "" {
		return nil, errors.New("without an idempotency key the agent would run twice if the answer were lost")
	}
	send.PartialReplies = onPartial != nil
	frame := &gatewayv1.ConnectRequest{Frame: &gatewayv1.ConnectRequest_Send{Send: send}}
	got := c.request(ctx, &request{frame: frame, onPartial: onPartial, isSend: true})
	return got.reply, got.err
}

func (c *Connection) request(ctx context.Context, r *request) answer {
	r.answer = make(chan answer, 1)
	c.mu.Lock()
	id := c.add(r)
	link := c.link
	c.mu.Unlock()
	if link != nil {
		link.send(r.frame)
	}
	select {
	case got := <-r.answer:
		return got
	case <-c.done:
		return answer{err: c.err}
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.requests, id)
		c.mu.Unlock()
		return answer{err: ctx.Err()}
	}
}

// add names and keeps a request. An id is never used twice: replies that a connection left behind come on the next
// under the id that they had. The caller holds the lock.
func (c *Connection) add(r *request) uint64 {
	c.lastRequest++
	r.frame.RequestId = strconv.FormatUint(c.lastRequest, 10)
	c.requests[c.lastRequest] = r
	return c.lastRequest
}

func (c *Connection) stand(s *standing) {
	c.mu.Lock()
	c.standing = append(c.standing, s)
	link := c.link
	var frame *gatewayv1.ConnectRequest
	if link != nil {
		frame = c.say(s)
	}
	c.mu.Unlock()
	if link != nil {
		link.send(frame)
	}
}

// drop: later connections do not say it any more.
func (c *Connection) drop(isIt func(*standing) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.standing {
		if isIt(s) {
			c.standing = append(c.standing[:i], c.standing[i+1:]...)
			return
		}
	}
}

// say makes the frame of a standing thing for this connection. The caller holds the lock.
func (c *Connection) say(s *standing) *gatewayv1.ConnectRequest {
	frame := s.frame()
	c.add(&request{frame: frame, standing: s, answer: make(chan answer, 1)})
	return frame
}

// fail: nothing will come any more, and everybody who waits learns why.
func (c *Connection) fail(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		close(c.done)
		for _, cancel := range c.calls {
			cancel()
		}
	}
	return c.err
}

// backoff is from half of the step to all of it, so that a thousand clients of a restarted daemon do not come back at
// once.
func (c *Connection) backoff(atLeast time.Duration) time.Duration {
	step := 100 * time.Millisecond << uint(c.attempts)
	if step >= 30*time.Second {
		step = 30 * time.Second
	} else {
		c.attempts++
	}
	wait := step/2 + time.Duration(rand.Int63n(int64(step/2)))
	if wait < atLeast {
		return atLeast
	}
	return wait
}
