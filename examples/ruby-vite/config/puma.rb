port ENV.fetch("PORT", 8080)
threads 1, 4
log_requests false
