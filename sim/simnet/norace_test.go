//go:build !race

package simnet

const shuffled = false
