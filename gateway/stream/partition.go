package stream

// crcTable is CRC-16/XMODEM (polynomial 0x1021, start 0), the checksum of Redis Cluster's key slots.
var crcTable = func() (t [256]uint16) {
	for i := range t {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		t[i] = crc
	}
	return t
}()

// CRC16 is the checksum that Redis Cluster computes over a key (XMODEM; "123456789" gives 0x31C3).
func CRC16[T ~string | ~[]byte](s T) uint16 {
	var crc uint16
	for i := range len(s) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^s[i]]
	}
	return crc
}

// Partition is the number, 0 to n-1, of the partition that holds name: a channel, the session of an
// entry that has no channel, or the user of a kick. Order is kept within one partition.
func Partition[T ~string | ~[]byte](name T, n int) int {
	return int(CRC16(name)) % n
}
