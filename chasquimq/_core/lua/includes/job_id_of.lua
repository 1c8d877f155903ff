-- The job id of an envelope in the array form that every producer writes; '' when it has another form.
local function job_id_of(envelope)
  local kind, head, length = string.byte(envelope, 1, 3)
  if kind and head and kind >= 0x93 and kind <= 0x95 then
    if head >= 0xa0 and head <= 0xbf then
      return string.sub(envelope, 3, 2 + head - 0xa0)
    elseif head == 0xd9 and length then
      return string.sub(envelope, 4, 3 + length)
    end
  end
  return ''
end
