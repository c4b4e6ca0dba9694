//go:build !linux && !darwin

package sif

func explainDisk(_ string, _ int64, err error) error { return err }
