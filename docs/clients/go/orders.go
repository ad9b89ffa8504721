package main

import (
	"fmt"
	"sync"

	gatewayv1 "gateway/v1"

	"github.com/golang/protobuf/proto"
	structpb "github.com/golang/protobuf/ptypes/struct"
)

func text(s string) *structpb.Value {
	return &structpb.Value{Kind: &structpb.Value_StringValue{StringValue: s}}
}
func number(f float64) *structpb.Value {
	return &structpb.Value{Kind: &structpb.Value_NumberValue{NumberValue: f}}
}

func topic(client string) string { return "examples." + client + ".orders" }

// content is the JSON of one order.
func content(publisher string, n int) *structpb.Struct {
	line := &structpb.Struct{Fields: map[string]*structpb.Value{
		"sku":   text(fmt.Sprintf("A-%d", n)),
		"price": number(float64(n) / 4),
		"paid":  {Kind: &structpb.Value_BoolValue{BoolValue: n%2 == 0}},
		"note":  {Kind: &structpb.Value_NullValue{}},
	}}
	lines := &structpb.ListValue{Values: []*structpb.Value{{Kind: &structpb.Value_StructValue{StructValue: line}}}}
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"publisher": text(publisher),
		"number":    number(float64(n)),
		"text":      text(fmt.Sprintf("Order № %d: Grüße, 東京 🚀", n)),
		"lines":     {Kind: &structpb.Value_ListValue{ListValue: lines}},
	}}
}

// custom is a durable event of our own type. Its id makes publishing it twice harmless; ids are per principal, so it
// has to be unlike those of every other run.
func custom(client, id, kind string, data *structpb.Struct) *gatewayv1.Event {
	return &gatewayv1.Event{
		Id: id, Type: gatewayv1.EventType_EVENT_TYPE_CUSTOM, CustomType: kind, Topic: topic(client),
		Data: &gatewayv1.Event_Custom{Custom: &gatewayv1.CustomData{Form: &gatewayv1.CustomData_Json{Json: data}}},
	}
}

func order(client, run string, n int) *gatewayv1.Event {
	return custom(client, fmt.Sprintf("%s-%s-%d", client, run, n), "order.created", content(client, n))
}

// endOf is the last event of a run: the log is in order, so whatever is missing when it comes will not come any more.
func endOf(client, run string) *gatewayv1.Event {
	data := &structpb.Struct{Fields: map[string]*structpb.Value{"run": text(run)}}
	return custom(client, fmt.Sprintf("%s-%s-end", client, run), "orders.ended", data)
}

// Tally is the judgement over what came back.
type Tally struct {
	mu      sync.Mutex
	numbers map[string][]int // publisher → the numbers of its orders as they came
	damaged int
	ends    map[string]bool
	waiting []waiting
}

type waiting struct {
	isTrue func() bool
	ready  chan struct{}
}

// Faults are counts, all of which should be 0.
type Faults struct {
	Missing    int `json:"missing"`
	Doubled    int `json:"doubled"`
	Disordered int `json:"disordered"`
	Damaged    int `json:"damaged"`
}

// NewTally begins with nothing.
func NewTally() *Tally { return &Tally{numbers: map[string][]int{}, ends: map[string]bool{}} }

// Take counts one event.
func (t *Tally) Take(event *gatewayv1.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	data := event.GetCustom().GetJson()
	if event.GetCustomType() == "orders.ended" {
		t.ends[data.GetFields()["run"].GetStringValue()] = true
	} else {
		publisher, n := data.GetFields()["publisher"].GetStringValue(), int(data.GetFields()["number"].GetNumberValue())
		if !proto.Equal(data, content(publisher, n)) {
			t.damaged++
		}
		t.numbers[publisher] = append(t.numbers[publisher], n)
	}
	still := t.waiting[:0]
	for _, w := range t.waiting {
		if w.isTrue() {
			close(w.ready)
		} else {
			still = append(still, w)
		}
	}
	t.waiting = still
}

// Reached is closed once the order with that number has come; at once for 0.
func (t *Tally) Reached(publisher string, n int) <-chan struct{} {
	return t.when(func() bool { return n == 0 || contains(t.numbers[publisher], n) })
}

// Ended is closed once the last event of the run has come.
func (t *Tally) Ended(run string) <-chan struct{} { return t.when(func() bool { return t.ends[run] }) }

func (t *Tally) when(isTrue func() bool) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	ready := make(chan struct{})
	if isTrue() {
		close(ready)
	} else {
		t.waiting = append(t.waiting, waiting{isTrue, ready})
	}
	return ready
}

// Judge compares with what is expected: publisher → how many orders, numbered from 1.
func (t *Tally) Judge(expected map[string]int) Faults {
	t.mu.Lock()
	defer t.mu.Unlock()
	faults := Faults{Damaged: t.damaged}
	for publisher, count := range expected {
		numbers, unique := t.numbers[publisher], map[int]bool{}
		for i, n := range numbers {
			unique[n] = true
			if i > 0 && n < numbers[i-1] {
				faults.Disordered++
			}
		}
		for n := 1; n <= count; n++ {
			if !unique[n] {
				faults.Missing++
			}
		}
		faults.Doubled += len(numbers) - len(unique)
	}
	return faults
}

func contains(numbers []int, wanted int) bool {
	for _, n := range numbers {
		if n == wanted {
			return true
		}
	}
	return false
}
