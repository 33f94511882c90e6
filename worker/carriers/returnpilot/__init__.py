"""ReturnPilot: an order is made, the customer is mailed a link, and shipments appear when he schedules the return.

Source: ReturnPilot's developer portal (developers.returnpilot.co, 2025-07-28). It documents no idempotency key, no
filter of the list, no webhooks and no test mode: every creation mails a real person, and one whose answer was lost is
looked up in the list by its reference.
"""
