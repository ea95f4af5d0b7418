// Package assert stands in for github.com/stretchr/testify/assert: the assertions that tests of benchmarks use, with its idea of equality.
package assert

import (
	"bytes"
	"math"
	"reflect"
)

// TestingT is what an assertion reports to.
type TestingT interface {
	Errorf(format string, args ...interface{})
}

// Assertions are bound to one test.
type Assertions struct{ t TestingT }

// New binds assertions to a test.
func New(t TestingT) *Assertions { return &Assertions{t} }

// ObjectsAreEqual compares bytes as bytes and everything else deeply, as testify does.
func ObjectsAreEqual(expected, actual interface{}) bool {
	if expected == nil || actual == nil {
		return expected == actual
	}
	want, ok := expected.([]byte)
	if !ok {
		return reflect.DeepEqual(expected, actual)
	}
	got, ok := actual.([]byte)
	if !ok {
		return false
	}
	if want == nil || got == nil {
		return want == nil && got == nil
	}
	return bytes.Equal(want, got)
}

func isNil(value interface{}) bool {
	if value == nil {
		return true
	}
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Chan, reflect.Func, reflect.Interface, reflect.Map, reflect.Ptr, reflect.Slice, reflect.UnsafePointer:
		return v.IsNil()
	}
	return false
}

func verdict(t TestingT, ok bool, what string, args ...interface{}) bool {
	if !ok {
		t.Errorf(what, args...)
	}
	return ok
}

func Equal(t TestingT, expected, actual interface{}, _ ...interface{}) bool {
	return verdict(t, ObjectsAreEqual(expected, actual), "not equal: expected %#v, actual %#v", expected, actual)
}

func NotEqual(t TestingT, expected, actual interface{}, _ ...interface{}) bool {
	return verdict(t, !ObjectsAreEqual(expected, actual), "should not be %#v", actual)
}

func True(t TestingT, value bool, _ ...interface{}) bool { return verdict(t, value, "should be true") }

func False(t TestingT, value bool, _ ...interface{}) bool {
	return verdict(t, !value, "should be false")
}

func Nil(t TestingT, value interface{}, _ ...interface{}) bool {
	return verdict(t, isNil(value), "expected nil, got %#v", value)
}

func NotNil(t TestingT, value interface{}, _ ...interface{}) bool {
	return verdict(t, !isNil(value), "expected a value, got nil")
}

func InDelta(t TestingT, expected, actual, delta float64, _ ...interface{}) bool {
	return verdict(t, math.Abs(expected-actual) <= delta, "%v and %v differ by more than %v", expected, actual, delta)
}

func (a *Assertions) Equal(expected, actual interface{}, more ...interface{}) bool {
	return Equal(a.t, expected, actual, more...)
}

func (a *Assertions) NotEqual(expected, actual interface{}, more ...interface{}) bool {
	return NotEqual(a.t, expected, actual, more...)
}

func (a *Assertions) True(value bool, more ...interface{}) bool { return True(a.t, value, more...) }

func (a *Assertions) False(value bool, more ...interface{}) bool { return False(a.t, value, more...) }

func (a *Assertions) Nil(value interface{}, more ...interface{}) bool {
	return Nil(a.t, value, more...)
}

func (a *Assertions) NotNil(value interface{}, more ...interface{}) bool {
	return NotNil(a.t, value, more...)
}

func (a *Assertions) InDelta(expected, actual, delta float64, more ...interface{}) bool {
	return InDelta(a.t, expected, actual, delta, more...)
}
