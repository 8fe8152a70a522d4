// Package metric holds what a load run measures and the thresholds that judge it.
//
//	Trend    values over time, in an HDR histogram     avg min max med p(x)     milliseconds
//	Counter  a sum, by itself or split by one tag      count rate               rate is per second of the steady phase
//	Rate     a share: passes out of a total            rate                     0 to 1
//	Gauge    the last of several readings              value avg min max
//
// Names, kinds and the grammar of thresholds are those of k6, so that what its users know holds here. One thing differs on
// purpose: a threshold without evidence fails (see [Threshold.Check]).
//
// Nothing here is safe for concurrent use: a [Set] belongs to the goroutine that records into it. Recording allocates
// nothing; a Trend takes 139 KB however many values it has.
package metric
