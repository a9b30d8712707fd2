-- Hold more for a job before a call of its worker.
-- KEYS  1 job, 2 events (unused)
-- ARGV  1 job id (unused), 2 slot, 3 fence, 4 micros wanted in all, 5 those held before any was added, 6 micros that the
--       job may cost or '', 7 budget of its user's month
-- Answer: 'held' | 'busy' (other unfinished jobs hold what is left) | 'gone' | 'lost' (the fence is not the current one)
local slot, fence, wanted, granted, most, user_budget = unpack(ARGV, 2)

if not holds(slot, fence) then
  return 'lost'
end
return top_up(slot, wanted, granted, most, user_budget)
