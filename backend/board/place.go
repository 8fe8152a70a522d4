package board

// move gives a row another place. A place is one register, so two people who move one card to two columns leave it in one.
func (a *applier) move(row *Row, o *Op) error {
	lane, err := a.lane(o)
	if err != nil {
		return err
	}
	was, _ := row.Place()
	// Who only sorts one column anew does not want to hear of others who did so.
	reg, wins := a.contest(row, GroupPlace, At(lane, ""), was.Lane == lane)
	if !wins {
		return nil
	}
	pos, err := a.position(lane, &Op{ID: row.ID, Kind: row.Kind, After: o.After, Before: o.Before, Pos: o.Pos})
	if err != nil {
		return err
	}
	reg.Value = At(lane, pos)
	for i := range a.out.Conflicts {
		c := &a.out.Conflicts[i]
		if c.Row == row.Key && c.Group == GroupPlace && c.Kept.Stamp == reg.Stamp {
			c.Kept = reg // with its position
		}
	}
	if err := a.write(row.Key, GroupPlace, reg); err != nil {
		return err
	}
	moved, err := a.rows.Row(row.Key)
	if err != nil {
		return err
	}
	return a.rekeyIfLong(moved)
}

// lane is where a put or a move leads to: the lane that it says, or, if that is a deleted column, the one its cards went to.
func (a *applier) lane(o *Op) (string, error) {
	kind := LaneKind(o.Kind)
	if kind == "" {
		return "", nil
	}
	if kind == KindCard {
		return o.Lane, a.onCard(o.Lane)
	}
	lane, err := a.redirect(o.Lane)
	if lane != o.Lane && err == nil {
		a.out.Result.worsen(Redirected)
	}
	return lane, err
}

// redirect follows deleted columns to one that is not.
func (a *applier) redirect(column string) (string, error) {
	for range maxColumn {
		row, err := a.existing(Key{KindColumn, column})
		if err != nil {
			return "", err
		}
		into := row.Regs[GroupInto].Value.Text()
		if row.Life() != Deleted || into == "" {
			return column, nil
		}
		column = into
	}
	return "", reject(CodeCycle, "column %s leads through more than %d deleted columns", column, maxColumn)
}

// position makes a position in a lane by the anchors: right behind After if that is still in the lane, else right in
// front of Before, else at Pos, else at the end. Deleted rows are anchors too, until they are purged.
func (a *applier) position(lane string, o *Op) (string, error) {
	after, err := a.anchor(lane, o.Kind, o.ID, o.After)
	if err != nil {
		return "", err
	}
	if after != "" {
		return a.beside(lane, o.ID, after, false)
	}
	before, err := a.anchor(lane, o.Kind, o.ID, o.Before)
	if err != nil {
		return "", err
	}
	if before != "" {
		return a.beside(lane, o.ID, before, true)
	}
	if o.Pos == "" {
		return a.beside(lane, o.ID, "", true)
	}
	taken, err := a.taken(lane, o.ID, o.Pos)
	if err != nil || !taken {
		return o.Pos, err
	}
	return a.beside(lane, o.ID, o.Pos, false)
}

// anchor is the position of a row in a lane, or "" if it is not there.
func (a *applier) anchor(lane, kind, self, id string) (string, error) {
	if id == "" || id == self {
		return "", nil
	}
	row, err := a.rows.Row(Key{kind, id})
	if err != nil || row == nil {
		return "", err
	}
	if p, ok := row.Place(); ok && p.Lane == lane {
		return p.Pos, nil
	}
	return "", nil
}

// beside makes a position right after pos, or, if back, right before it, or at the end for "". The row itself does not count.
func (a *applier) beside(lane, self, pos string, back bool) (string, error) {
	other, err := a.neighbor(lane, self, pos, back)
	if err != nil {
		return "", err
	}
	if back {
		return a.between(lane, other, pos)
	}
	return a.between(lane, pos, other)
}

func (a *applier) neighbor(lane, self, pos string, back bool) (string, error) {
	for {
		row, err := a.rows.Neighbor(lane, pos, back)
		if err != nil || row == nil {
			return "", err
		}
		p, _ := row.Place()
		if row.ID != self {
			return p.Pos, nil
		}
		pos = p.Pos
	}
}

func (a *applier) taken(lane, self, pos string) (bool, error) {
	before, err := a.neighbor(lane, self, pos, true)
	if err != nil {
		return false, err
	}
	row, err := a.rows.Neighbor(lane, before, false)
	if err != nil || row == nil {
		return false, err
	}
	p, _ := row.Place()
	if row.ID == self {
		row, err = a.rows.Neighbor(lane, p.Pos, false)
		if err != nil || row == nil {
			return false, err
		}
		p, _ = row.Place()
	}
	return p.Pos == pos, nil
}

func (a *applier) between(lane, low, high string) (string, error) {
	between := a.rules.Between
	if between == nil {
		between = Between
	}
	pos, err := between(low, high)
	if err != nil {
		return "", reject(CodePosition, "lane %s between %q and %q: %v", lane, low, high, err)
	}
	return pos, nil
}

// rekeyIfLong gives all rows of a lane short positions when the one that was just made is too long. Nobody meant that: stamps and seqs
// stay, so what people do at the same time is not in conflict with it; and anchors, being IDs, still hold.
func (a *applier) rekeyIfLong(row *Row) error {
	limit := a.rules.RekeyOver
	if limit == 0 {
		limit = defaultRekeyOver
	}
	p, ok := row.Place()
	if !ok || len(p.Pos) <= limit {
		return nil
	}
	lane, err := a.rows.Lane(p.Lane)
	if err != nil {
		return err
	}
	return a.shift(lane, p.Lane, "")
}

// shift gives rows, in their order, new positions in a lane, after pos.
func (a *applier) shift(rows []*Row, lane, pos string) error {
	for _, row := range rows {
		next, err := a.between(lane, pos, "")
		if err != nil {
			return err
		}
		pos = next
		reg := row.Regs[GroupPlace]
		reg.Value = At(lane, pos)
		if err := a.write(row.Key, GroupPlace, reg); err != nil {
			return err
		}
	}
	return nil
}

// deleteColumn deletes a column and moves its cards to the end of another. Whoever is late is redirected there, too. Of two
// who delete it the first to arrive says where the cards go.
func (a *applier) deleteColumn(row *Row, into string) error {
	target, err := a.redirect(into)
	if err != nil {
		return err
	}
	if target == row.ID {
		return reject(CodeCycle, "the cards of column %s would go to itself", row.ID)
	}
	if row.Life() == Deleted {
		return nil
	}
	column := row.Key
	if err := a.life(row, Deleted); err != nil {
		return err
	}
	if err := a.write(column, GroupInto, Register{Text(target), a.after(row.Regs[GroupInto].Stamp), a.seq}); err != nil {
		return err
	}
	cards, err := a.rows.Lane(row.ID)
	if err != nil {
		return err
	}
	last, err := a.neighbor(target, "", "", true)
	if err != nil {
		return err
	}
	return a.shift(cards, target, last)
}
