-- Say where a job stands.
-- KEYS  1 job
-- ARGV  1 job id
-- Answer: {position in its user's line from 1, or -1 for one that waits for its time; ms until it starts, or -1 where that
--         is not known}, or nil for one that does not wait
local job_id = ARGV[1]

return place_of(job_id)
