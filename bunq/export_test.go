package bunq

// Explanation is what a login state may be told with.
type Explanation struct {
	State    LoginState
	Sentence string
}

// Explanations returns all of them.
func Explanations() (all []Explanation) {
	for _, e := range explanations {
		all = append(all, Explanation{e.state, e.sentence})
	}
	return all
}

// CheckAccess is for users that the tests do not run as.
var CheckAccess = checkAccess
