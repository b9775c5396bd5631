"""A watch over many machines in one process: sources, scores, alarms, web page, MQTT, metrics."""
