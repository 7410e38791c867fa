package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

type set map[string]bool

func setOf(items ...string) set {
	s := set{}
	for _, item := range items {
		s[item] = true
	}
	return s
}

func (s set) with(more set) set {
	all := maps.Clone(s)
	maps.Copy(all, more)
	return all
}

// vocabulary is what a query may speak of.
type vocabulary struct {
	labels map[string]set // by metric
	values map[string]set // by label, of the labels whose values are a closed set
}

// speaks learns the metrics of a running exporter, those that Prometheus adds, and those that the rules make.
func speaks(t *testing.T, exposition string, rules []rule) vocabulary {
	t.Helper()
	textParser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := textParser.TextToMetricFamilies(strings.NewReader(exposition))
	if err != nil {
		t.Fatal(err)
	}
	v := vocabulary{
		labels: map[string]set{"up": setOf("job", "instance")},
		values: map[string]set{"alertstate": setOf("firing", "pending"), "alertname": {}, "severity": {}},
	}
	for _, label := range []string{"status", "state", "method", "endpoint", "reason"} {
		v.values[label] = set{}
	}
	for name, family := range families {
		v.learn(name, family)
	}
	v.learnRules(rules)
	return v
}

func (v vocabulary) learn(name string, family *dto.MetricFamily) {
	labels := setOf("job", "instance")
	for _, metric := range family.GetMetric() {
		for _, label := range metric.GetLabel() {
			labels[label.GetName()] = true
			if known := v.values[label.GetName()]; known != nil {
				known[label.GetValue()] = true
			}
		}
	}
	if family.GetType() == dto.MetricType_HISTOGRAM {
		v.labels[name+"_sum"], v.labels[name+"_count"] = labels, labels
		name, labels = name+"_bucket", labels.with(setOf("le"))
	}
	v.labels[name] = labels
}

// learnRules takes a recorded metric's labels from its name, level:metric:operation, since it may refer to itself.
func (v vocabulary) learnRules(rules []rule) {
	alerts := setOf("alertname", "alertstate")
	for _, r := range rules {
		if level, _, recorded := strings.Cut(r.Record, ":"); recorded {
			v.labels[r.Record] = setOf(strings.Split(level, "_")...)
		}
	}
	for _, r := range rules {
		if r.Alert == "" {
			continue
		}
		v.values["alertname"][r.Alert] = true
		for name, value := range r.Labels {
			alerts[name] = true
			if known := v.values[name]; known != nil {
				known[value] = true
			}
		}
		labels, _ := v.check(r.Expr)
		maps.Copy(alerts, labels)
	}
	v.labels["ALERTS"], v.labels["ALERTS_FOR_STATE"] = alerts, alerts
}

// check returns the labels of a query's result, and what is wrong with the query.
func (v vocabulary) check(query string) (labels set, problems []string) {
	expr, err := parser.ParseExpr(query)
	if err != nil {
		return nil, []string{err.Error()}
	}
	c := checker{vocabulary: v}
	labels = c.result(expr)
	return labels, c.problems
}

type checker struct {
	vocabulary
	problems []string
}

func (c *checker) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// want reports labels that are not there.
func (c *checker) want(expr parser.Expr, what string, labels []string, there set) {
	for _, label := range labels {
		if !there[label] {
			c.problem("%s: no label %s for %s", expr, label, what)
		}
	}
}

// result returns the labels of an expression's result.
func (c *checker) result(expr parser.Expr) set {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		return c.selector(e)
	case *parser.AggregateExpr:
		return c.aggregation(e)
	case *parser.BinaryExpr:
		return c.binary(e)
	case *parser.Call:
		return c.call(e)
	}
	all := set{}
	for child := range parser.ChildrenIter(expr) {
		maps.Copy(all, c.result(child.(parser.Expr)))
	}
	return all
}

func (c *checker) selector(e *parser.VectorSelector) set {
	labels, known := c.labels[e.Name]
	if !known {
		c.problem("there is no metric %q", e.Name)
	}
	for _, m := range e.LabelMatchers {
		if m.Name == model.MetricNameLabel {
			continue
		}
		c.want(e, "a matcher", []string{m.Name}, labels)
		for alternative := range strings.SplitSeq(m.Value, "|") {
			if values := c.values[m.Name]; values != nil && !matchesAny(alternative, values) {
				c.problem("%s: label %s is never %q", e, m.Name, alternative)
			}
		}
	}
	return labels
}

func matchesAny(pattern string, values set) bool {
	matches := regexp.MustCompile("^(?:" + pattern + ")$").MatchString
	return slices.ContainsFunc(slices.Collect(maps.Keys(values)), matches)
}

func (c *checker) aggregation(e *parser.AggregateExpr) set {
	labels := c.result(e.Expr)
	c.want(e, "a group", e.Grouping, labels)
	if e.Op == parser.TOPK {
		return labels
	}
	if e.Without {
		c.problem("%s: by names the labels that stay, also when there are new ones", e)
	}
	return setOf(e.Grouping...)
}

func (c *checker) binary(e *parser.BinaryExpr) set {
	left, right := c.result(e.LHS), c.result(e.RHS)
	m := e.VectorMatching
	if m == nil { // with a number
		return left.with(right)
	}
	if m.On {
		c.want(e.LHS, "on()", m.MatchingLabels, left)
		c.want(e.RHS, "on()", m.MatchingLabels, right)
	} else {
		c.want(e, "ignoring()", m.MatchingLabels, left.with(right))
	}
	switch {
	case e.Op == parser.LOR:
		return left.with(right)
	case e.Op.IsSetOperator():
		return left
	case m.Card == parser.CardManyToOne:
		c.want(e.RHS, "group_left()", m.Include, right)
		return left.with(setOf(m.Include...))
	case m.On:
		return setOf(m.MatchingLabels...)
	}
	return left
}

func (c *checker) call(e *parser.Call) set {
	labels := set{}
	for _, argument := range e.Args {
		maps.Copy(labels, c.result(argument))
	}
	switch e.Func.Name {
	case "histogram_quantile":
		c.want(e, "the buckets", []string{"le"}, labels)
		labels = maps.Clone(labels)
		delete(labels, "le")
	case "absent_over_time":
		labels = set{} // those of the series that there are none of: only a matcher's could be told
	case "label_replace":
		c.want(e, "the source", []string{e.Args[3].(*parser.StringLiteral).Val}, labels)
		labels[e.Args[1].(*parser.StringLiteral).Val] = true
	}
	return labels
}

// windows returns the ranges over which a query takes the increase of counters.
func windows(t *testing.T, query string) (ranges []time.Duration) {
	t.Helper()
	expr, err := parser.ParseExpr(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if call, ok := node.(*parser.Call); ok && slices.Contains([]string{"rate", "irate", "increase"}, call.Func.Name) {
			ranges = append(ranges, call.Args[0].(*parser.MatrixSelector).Range)
		}
		return nil
	})
	return ranges
}
