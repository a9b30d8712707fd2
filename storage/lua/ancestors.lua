-- Walk from a job to the one that it goes on with, and so on, as long as Redis has them.
-- KEYS  none
-- ARGV  1 id of the first job to look at, 2 most jobs, 3 most bytes of questions and outcomes
-- Answer: {id of the next job to look at or '', then of each job that was found: id, spec, question or '', status,
--         outcome or ''}
local job_id, most_jobs, most_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local found, jobs, bytes = { '' }, 0, 0

while job_id ~= '' and jobs < most_jobs and bytes < most_bytes do
  turn_to(job_id)
  local spec, question, status, outcome = unpack(redis.call('HMGET', KEYS[1], 'spec', 'question', 'status', 'outcome'))
  if not spec then
    break
  end
  for _, part in ipairs({ job_id, spec, question or '', status, outcome or '' }) do
    table.insert(found, part)
  end
  jobs, bytes = jobs + 1, bytes + #(question or '') + #(outcome or '')
  job_id = cjson.decode(spec).parent_id or ''
end
found[1] = job_id
return found
